"""DeepSpeed: settings, partitions and gradient accumulation. The only importer of deepspeed."""
