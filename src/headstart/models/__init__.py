"""The checkpoint side: loading, the backbone/head split, heads, head files, saving."""
