"""What drives: policies map observations to plans. No ray and no simulator internals in here."""
