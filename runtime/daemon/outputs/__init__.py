"""The ways out of the daemon: who is told of final records, each at its own pace."""
