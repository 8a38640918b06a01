"""`moonquake serve`: the run store as pages. Reads only; what it shows of a run is what the run's files say.

What guards it (tests/unit/test_web.py holds it to this):

- Only GET and HEAD; nothing that is asked for changes anything on the disk.
- A path names a run by two plain names; what it resolves to must lie in the store, and no record may be a link.
- Own pages run scripts from /assets only; reports, which hold text that others wrote, are shown sandboxed, in an origin
  of their own, and may fetch nothing.
- Without a token only requests for a loopback name are answered, so that no other site's name can be pointed here.
  With a token every page asks for it, once; a cookie that no script can read remembers it.
"""
