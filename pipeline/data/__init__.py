"""Order, masking, packing and loading of samples: from shards to training batches without padding."""
