c.InteractiveShellApp.exec_files = ["/run/tidemart/memory.py"]  # noqa: F821
