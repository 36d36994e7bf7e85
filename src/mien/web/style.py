"""How the page looks, and the small pieces of HTML that it shows. No font or script is fetched from elsewhere."""

from __future__ import annotations

from html import escape

from mien.media.files import readable_name
from mien.web.running import Status

WIDE = "1240px"

CSS = f"""
.gradio-container {{ max-width: {WIDE} !important; width: 100% !important;
  margin: 0 auto !important; }}
.mien-head h1 {{ margin: 0; font-size: 1.5rem; }}
.mien-head p {{ margin: .2rem 0 0; max-width: 75ch; }}
/* gradio's grey is too pale to read: 2.5 to 1 on white, where 4.5 is the least */
.gradio-container {{ --body-text-color-subdued: #5b6472; }}
.dark .gradio-container, .gradio-container.dark {{ --body-text-color-subdued: #a9b1bf; }}
:focus-visible {{ outline: 3px solid var(--color-accent) !important; outline-offset: 2px; }}
@media (prefers-reduced-motion: reduce) {{
  .mien-bar.unknown > div {{ animation: none; width: 100%; opacity: .5; }}
}}
.mien-note {{ padding: .6rem .9rem; border-radius: 8px; background: var(--background-fill-secondary);
  border-left: 4px solid var(--border-color-primary); overflow-wrap: anywhere; }}
.mien-note.error {{ border-left-color: #d64545; }}
.mien-note.done {{ border-left-color: #2f9e62; }}
.mien-note.busy {{ border-left-color: var(--color-accent); }}
.mien-note ul {{ margin: .3rem 0 0; padding-left: 1.1rem; }}
.mien-bar {{ height: 8px; margin-top: .5rem; border-radius: 4px; background: var(--border-color-primary);
  overflow: hidden; }}
.mien-bar > div {{ height: 100%; background: var(--color-accent); transition: width .25s linear; }}
.mien-bar.unknown > div {{ width: 30%; animation: mien-slide 1.4s ease-in-out infinite alternate; }}
@keyframes mien-slide {{ from {{ margin-left: 0; }} to {{ margin-left: 70%; }} }}
div:has(.mien-follows) {{ overflow: visible !important; }}  /* else nothing in them can be held in view */
.mien-follows {{ position: sticky; top: .5rem; align-self: flex-start; z-index: 50; }}
@media (max-width: 767px) {{
  .mien-follows {{ order: -1; background: var(--body-background-fill); }}
  .mien-follows #edit-result {{ height: 36vh !important; min-height: 0 !important; }}
  /* nothing to show yet: what to click comes first */
  #edit-result:not(:has(img)) {{ height: 6rem !important; }}
  #animate-result:not(:has(video)), #batch-result:not(:has(video)) {{ display: none; }}
  #animate-result:has(video) {{ height: min(60vh, 92vw) !important; }}
  #animate-desk > .column {{ display: contents !important; }}  /* the result right below the button, then examples */
  #animate-desk > .column > * {{ flex: 0 0 100% !important; }}
  #animate-desk #animate-examples {{ order: 1; }}
  #animate-inputs > * {{ min-width: 100% !important; height: 9rem !important; }}
  .label-wrap > span {{ text-align: left; }}
  .tab-container button {{ padding-left: .6rem; padding-right: .6rem; }}
}}
button[aria-label^="Trim"] {{ display: none !important; }}  /* needs a program from elsewhere; start and end do it */
.mien-text {{ max-width: 75ch; overflow-wrap: anywhere; }}
.mien-text table {{ display: block; overflow-x: auto; }}
"""

# gradio's video player would fetch a program from a public server; the browser is told not to.
POLICY = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'self' 'unsafe-inline' 'unsafe-eval'"
    ' blob: data:">'
)

HEAD = (
    '<div class="mien-head"><h1>Mien</h1><p>Give a portrait and a driving video: the portrait'
    " moves as the face in the video does. Animate yourself, people who agreed, or people who do not exist.</p></div>"
)


def note(text: str, kind: str = "", points: tuple[str, ...] = ()) -> str:
    """A sentence in a box. kind: "", "busy", "done" or "error"; points: a list below it."""
    listed = "".join(f"<li>{escape(readable_name(point))}</li>" for point in points)
    below = f"<ul>{listed}</ul>" if points else ""
    return f'<div class="mien-note {kind}" role="status">{escape(readable_name(text))}{below}</div>'


def progress(status: Status) -> str:
    """What a job is doing, with a bar."""
    words = status.title
    if status.share is None:
        bar = '<div class="mien-bar unknown"><div></div></div>'
    else:
        percent = round(100 * status.share)
        words += f" · {percent} %"
        bar = f'<div class="mien-bar"><div style="width: {percent}%"></div></div>'
    if status.left is not None:
        words += f" · about {_time(status.left)} left"
    return f'<div class="mien-note busy" role="status">{escape(words)}{bar}</div>'


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
