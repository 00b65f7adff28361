"""The daemon's door for HTTP: an application of FastAPI; one file for each subject."""
