"""DeepSpeed: settings, partitions and gradient accumulation. No other package imports deepspeed."""
