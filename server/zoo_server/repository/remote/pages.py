"""Lists the objects of a store a page at a time, so that a bucket without end takes bounded time and memory.

    read_files    the objects below a path
    read_names    its first level

fsspec's own listings gather every object before they return. Here a listing ends at MAX_OBJECTS; where the store lists
by name, it passes over the rest of a folder that has more than a model may have, and over hidden ones.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoo_server.repository import layout
from zoo_server.repository.scan import MAX_ENTRIES

#: Of one look at a repository: objects in models, or names at its root.
MAX_OBJECTS = 200_000

#: Sorts after every name.
_LAST = "\U0010ffff"

#: Key, bytes, and what the content is known by.
Row = tuple[str, int, str]


class TooManyObjects(Exception):
    """A listing was ended at MAX_OBJECTS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Part of a listing."""

    rows: Sequence[Row]
    #: What has the delimiter after the prefix, up to and with it.
    folders: Sequence[str] = ()
    #: Of the next page, empty after the last.
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which page of a listing."""

    bucket: str
    prefix: str
    delimiter: str = ""
    token: str = ""
    #: A name up to which everything may be passed over, instead of going on from the token.
    after: str = ""


Lister = Callable[[Any, Query], Page]


def read_names(lister: Lister, driver: Any, path: str) -> list[str]:
    """Return what is at the first level of BUCKET/PATH, folders with a slash at the end.

    TooManyObjects beyond MAX_OBJECTS.
    """
    query = _query(driver, path, "/")
    names: list[str] = []
    while True:
        page = lister(driver, query)
        names += (name.removeprefix(query.prefix) for name in page.folders)
        names += (key.removeprefix(query.prefix) for key, _, _ in page.rows)
        if len(names) > MAX_OBJECTS:
            raise TooManyObjects
        if not page.token:
            return [name for name in names if name]
        query = replace(query, token=page.token)


def read_files(lister: Lister, driver: Any, root: str, folder: str = "") -> Iterator[Row]:
    """Yield the objects below BUCKET/ROOT/FOLDER, their keys below the root; of hidden folders none.

    Of a model with more than MAX_ENTRIES objects it is one more than that. TooManyObjects if more than MAX_OBJECTS had
    to be listed.
    """
    start = len(_query(driver, root).prefix)
    query = _query(driver, f"{root}/{folder}".rstrip("/"))
    counts: Counter[str] = Counter()
    while True:
        page = lister(driver, query)
        model = ""
        for key, size, tag in page.rows:
            model = key[start:].partition("/")[0]
            counts[model] += 1
            if key[start:] and not _is_passed(model, counts):
                yield key[start:], size, tag
        if counts.total() > MAX_OBJECTS:
            raise TooManyObjects
        if not page.token:
            return
        passes = page.rows and _is_passed(model, counts)
        after = f"{page.rows[-1][0][:start]}{model}/{_LAST}" if passes else ""
        query = replace(query, token=page.token, after=after)


def _is_passed(model: str, counts: Counter[str]) -> bool:
    return layout.is_hidden(model) or counts[model] > MAX_ENTRIES + 1


def _query(driver: Any, path: str, delimiter: str = "") -> Query:
    bucket, key, _ = driver.split_path(path)
    key = key.rstrip("/")
    return Query(bucket=bucket, prefix=f"{key}/" if key else "", delimiter=delimiter)


# -- the stores -------------------------------------------------------------------------------------


def _s3(driver: Any, query: Query) -> Page:
    # A directory bucket, which is called so, lists in no order and knows no start.
    passes = query.after and not query.bucket.endswith("--x-s3")
    where = {"StartAfter": query.after} if passes else {"ContinuationToken": query.token}
    answer = driver.call_s3(
        "list_objects_v2",
        Bucket=query.bucket,
        Prefix=query.prefix,
        Delimiter=query.delimiter,
        **(where if query.token else {}),
    )
    return Page(
        rows=[
            (row["Key"], row["Size"], row.get("ETag") or str(row.get("LastModified", "")))
            for row in answer.get("Contents", ())
        ],
        folders=[row["Prefix"] for row in answer.get("CommonPrefixes", ())],
        token=answer.get("NextContinuationToken", "") if answer.get("IsTruncated") else "",
    )


def _google(driver: Any, query: Query) -> Page:
    answer = driver.call(
        "GET",
        "b/{}/o",
        query.bucket,
        prefix=query.prefix or None,
        delimiter=query.delimiter or None,
        pageToken=(not query.after and query.token) or None,
        startOffset=query.after or None,
        json_out=True,
    )
    return Page(
        rows=[
            (row["name"], int(row.get("size", 0)), row.get("etag") or row.get("md5Hash") or "")
            for row in answer.get("items", ())
        ],
        folders=answer.get("prefixes", ()),
        token=answer.get("nextPageToken", ""),
    )


def _azure(driver: Any, query: Query) -> Page:
    """Ask for a page; nothing can be passed over."""
    from azure.core.exceptions import ResourceNotFoundError

    async def ask() -> tuple[list[Any], str]:
        async with driver.service_client.get_container_client(query.bucket) as container:
            listing = (
                container.walk_blobs(name_starts_with=query.prefix, delimiter=query.delimiter)
                if query.delimiter
                else container.list_blobs(name_starts_with=query.prefix, include=["metadata"])
            )
            pages = listing.by_page(query.token or None)
            return [item async for item in await anext(pages)], pages.continuation_token or ""

    try:
        items, token = asyncio.run_coroutine_threadsafe(ask(), driver.loop).result()
    except ResourceNotFoundError as error:
        raise FileNotFoundError(query.bucket) from error
    blobs = [item for item in items if hasattr(item, "size")]
    return Page(
        rows=[(blob.name, blob.size, blob.etag) for blob in blobs if not _is_folder(blob)],
        folders=[item.name for item in items if not hasattr(item, "size")],
        token=token,
    )


def _is_folder(blob: Any) -> bool:
    """Tell whether a blob stands for a folder, in accounts whose folders are objects."""
    metadata = {name.lower(): value for name, value in (blob.metadata or {}).items()}
    return metadata.get("hdi_isfolder") == "true"


#: By the scheme of an address.
LISTERS: Mapping[str, Lister] = {
    "s3": _s3,
    "s3a": _s3,
    "gs": _google,
    "gcs": _google,
    "az": _azure,
    "abfs": _azure,
    "abfss": _azure,
}
