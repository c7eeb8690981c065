"""Ways around the store: what lies there is changed and listed through fsspec itself."""

import fsspec


def overwrite(store, path, content):
    """Change a file behind the store's back."""
    fs, base = fsspec.core.url_to_fs(store.root, use_listings_cache=False)
    fs.makedirs(f"{base}/{path}".rpartition("/")[0], exist_ok=True)
    fs.pipe_file(f"{base}/{path}", content)


def names(store, folder=""):
    """All files below a folder, as paths relative to it."""
    fs, base = fsspec.core.url_to_fs(store.root, use_listings_cache=False)
    base = f"{base}/{folder}".rstrip("/")
    return sorted(path.removeprefix(f"{base}/") for path in fs.find(base))
