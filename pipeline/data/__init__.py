"""From sample shards to padding-free training batches: order, masks, packing, loading."""
