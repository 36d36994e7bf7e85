"""A button that hands the result on: by the system's own menu, or as an address to paste."""

from __future__ import annotations

import json

from mien.web import style

_NONE = "There is no result to share yet."
_LEFT = "Nothing was shared."
_SHARED = "The result was handed on."
_COPIED = (
    "The result's address was copied. Whoever reaches this page can open it, until the file is deleted;"
    " the file itself is under Download."
)
_REFUSED = "The browser neither shares nor copies here: save the file under Download and pass that on."


def script(video: str) -> str:
    """What the browser does at a click; returns the status. video: a selector of the result."""
    said = {"none": style.note(_NONE), "left": style.note(_LEFT), "refused": style.note(_REFUSED, "error")}
    said |= {"shared": style.note(_SHARED, "done"), "copied": style.note(_COPIED, "done")}
    return f"""
async () => {{
  const said = {json.dumps(said)};
  const video = document.querySelector({json.dumps(video)});
  if (!video || !video.currentSrc) return said.none;
  const address = video.currentSrc.split('#')[0];
  try {{
    const blob = await (await fetch(address)).blob();
    const name = decodeURIComponent(address.split('/').pop());
    const file = new File([blob], name, {{ type: blob.type || 'video/mp4' }});
    if (navigator.canShare && navigator.canShare({{ files: [file] }})) {{
      await navigator.share({{ files: [file] }});
      return said.shared;
    }}
  }} catch (error) {{
    if (error.name === 'AbortError') return said.left;
  }}
  try {{
    await navigator.clipboard.writeText(address);
    return said.copied;
  }} catch (error) {{
    return said.refused;
  }}
}}
"""
