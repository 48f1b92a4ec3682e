// Keeps the parts of the page that have `data-live` up to date, and says so when the simulator does not answer. Without
// this script the page shows the state at the time when it was loaded.
"use strict";

const PERIOD_MS = 2000;
const connection = document.getElementById("connection");

function inUse(part) {
  const selection = document.getSelection();
  const selects = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
  return selects || part.contains(document.activeElement);
}

async function refresh() {
  if (document.hidden) {
    return;
  }
  try {
    const answer = await fetch("/", { cache: "no-store" });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const now = fresh.getElementById(part.id);
      if (now && now.innerHTML !== part.innerHTML && !inUse(part)) {
        part.replaceChildren(...now.childNodes);
      }
    }
    connection.textContent = "";
  } catch {
    if (connection.textContent === "") {
      connection.textContent = `The simulator has not answered since ${new Date().toLocaleTimeString()}.`;
    }
  }
}

async function follow() {
  await refresh();
  setTimeout(follow, PERIOD_MS);
}

// A reload must not show the sentence about the last form again.
if (location.search !== "") {
  history.replaceState(null, "", location.pathname + location.hash);
}
setTimeout(follow, PERIOD_MS);
