"""The commands of `nearcast`, one file a topic; heavy imports wait until a command runs."""
