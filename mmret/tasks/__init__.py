"""What people come for, one file a task."""
