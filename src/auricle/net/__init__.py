"""HTTP to addresses that strangers name: nothing inside the own network is reached."""
