-- Who is online, and when everybody was last seen, as presencedb tells it. May be run again.

create table if not exists last_seen (
    id text collate "C" primary key, -- numbers too: presencedb has them up to 2^64-1
    online boolean,                  -- null: cannot be told
    last_seen timestamptz,           -- of who is offline; who is online is seen all the time. null: not known
    cursor text not null             -- of the feed, when this row was written
) with (fillfactor = 70);            -- room on each page for new versions of its rows, so that updates touch no index

create table if not exists presencedb_feed (
    name text primary key,
    cursor text not null -- where to go on: all changes before it are in last_seen, and none after it
);
