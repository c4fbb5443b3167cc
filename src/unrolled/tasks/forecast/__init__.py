"""Forecasting: series in, what comes next out, with intervals and beside naive forecasts."""
