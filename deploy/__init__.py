"""What goes to the device."""
