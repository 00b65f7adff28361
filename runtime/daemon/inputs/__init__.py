"""The ways in beside HTTP: watched folders, cameras, trigger messages over MQTT."""
