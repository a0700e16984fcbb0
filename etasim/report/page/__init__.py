"""One self-contained page for a result: what it shows, how it looks, and what moves on it (`page.css`, `page.js`)."""
