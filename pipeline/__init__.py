"""Pre-training, conversion and reports. Entry points: pretrain.py, convert.py, report.py."""
