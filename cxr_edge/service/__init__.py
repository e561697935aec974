"""`cxr-edge watch` as a service: a systemd unit, or a service of Windows."""
