"""The router: recommends registered services for a query, with calibrated confidence and reasons."""
