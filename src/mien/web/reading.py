"""What screen readers and keyboards need beyond gradio's own page: names for what is a picture, live notes."""

from __future__ import annotations

# Runs once in the browser. Gradio draws tabs and results late, so the page is looked at again whenever it changes.
SCRIPT = """
() => {
  const name = (element, words) => {
    if (element.getAttribute('aria-label') !== words) element.setAttribute('aria-label', words);
  };
  const look = () => {
    for (const place of document.querySelectorAll('[id$="-status"]')) {
      if (!place.hasAttribute('aria-live')) place.setAttribute('aria-live', 'polite');
    }
    for (const block of document.querySelectorAll('.block')) {
      const label = block.querySelector('label[data-testid="block-label"]');
      const words = label ? label.innerText.trim() : '';
      if (!words) continue;
      for (const button of block.querySelectorAll('button[aria-dropeffect]')) name(button, 'Choose: ' + words);
      for (const video of block.querySelectorAll('video')) name(video, words);
      for (const picture of block.querySelectorAll('img:not([alt]), img[alt=""]')) picture.alt = words;
    }
    for (const table of document.querySelectorAll('[id$="-examples"]')) {
      let number = 0;
      for (const row of table.querySelectorAll('tbody tr, .gallery > .gallery-item')) {
        number += 1;
        const starts = row.matches('tr') ? row.querySelectorAll('td') : [row];
        for (const start of starts) name(start, 'Example ' + number);
        for (const shown of row.querySelectorAll('img, video')) {
          if (shown.matches('img')) shown.alt = 'Example ' + number;
          else name(shown, 'Example ' + number);
        }
      }
    }
  };
  let waiting = false;
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => { waiting = false; look(); }, 200);
  }).observe(document.body, { childList: true, subtree: true });
  look();
}
"""
