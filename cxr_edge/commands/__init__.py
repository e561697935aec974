"""One file per command: arguments -> objects -> one library call -> what is printed."""
