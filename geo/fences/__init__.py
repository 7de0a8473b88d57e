"""What a geofence is: its shape, its limits, the forms it comes in."""
