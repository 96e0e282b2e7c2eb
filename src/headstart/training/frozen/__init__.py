"""What a frozen backbone gives, stored; heads that are trained on it."""
