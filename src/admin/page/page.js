// Keeps the status page up to date. The page also works without this script, but does not stay up to date.
"use strict";

(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const main = document.querySelector("main[data-now]");
  if (!main) return;
  const base = root.dataset.base;
  const live = document.getElementById("live");

  // Times are shown by the relay's clock, which may differ from the clock of the browser. `ahead` is the difference in
  // milliseconds.
  let ahead = Number(main.dataset.now) - Date.now();

  const span = (milliseconds) => {
    const seconds = Math.floor(milliseconds / 1000);
    if (seconds < 1) return (Math.max(0, milliseconds) / 1000).toFixed(1) + " s";
    if (seconds < 120) return seconds + " s";
    if (seconds < 7200) return Math.floor(seconds / 60) + " min";
    if (seconds < 172800) return Math.floor(seconds / 3600) + " h";
    return Math.floor(seconds / 86400) + " d";
  };

  const showTimes = () => {
    if (isSelecting()) return;
    const now = Date.now() + ahead;
    for (const time of document.querySelectorAll("time[data-at]")) {
      const at = Number(time.dataset.at);
      const passed = "due" in time.dataset ? "now" : span(now - at) + " ago";
      const text = at > now ? "in " + span(at - now) : passed;
      if (time.textContent !== text) time.textContent = text;
    }
  };

  const isSelecting = () => {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && main.contains(selection.anchorNode);
  };

  // The line that says whether the page is live.
  let connection = "wait";
  const say = () => {
    let state = connection;
    let text = { wait: "Connecting …", on: "Live", off: "Not live: no connection to the relay, trying again" }[state];
    if (state === "on" && isSelecting()) {
      state = "wait";
      text = "Paused while text is selected";
    }
    if (live.textContent !== text) live.textContent = text;
    live.dataset.state = state;
  };

  // Refreshing: the page is read again, and its sections that differ are replaced.
  const shape = (element) => {
    const copy = element.cloneNode(true);
    for (const time of copy.querySelectorAll("time")) time.textContent = "";
    for (const details of copy.querySelectorAll("details")) details.removeAttribute("open");
    return copy.outerHTML;
  };

  const pathOf = (element, section) => {
    const path = [];
    for (let at = element; at !== section; at = at.parentElement) {
      path.unshift([...at.parentElement.children].indexOf(at));
    }
    return path;
  };

  const replace = (old, fresh) => {
    const open = [...old.querySelectorAll("details[open][data-key]")].map((details) => details.dataset.key);
    const focused = old.contains(document.activeElement) && document.activeElement !== old;
    const path = focused ? pathOf(document.activeElement, old) : [];
    for (const details of fresh.querySelectorAll("details[data-key]")) {
      details.open = open.includes(details.dataset.key);
    }
    old.replaceWith(fresh);
    if (focused) {
      const again = path.reduce((at, place) => at && at.children[place], fresh);
      if (again) again.focus({ preventScroll: true });
    }
  };

  let running = false;
  let wanted = false;
  const refresh = async () => {
    wanted = true;
    if (running || isSelecting()) return;
    running = true;
    try {
      while (wanted && !isSelecting()) {
        wanted = false;
        const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
        if (answer.redirected) {
          location.reload();
          return;
        }
        if (!answer.ok) break;
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (isSelecting()) {
          wanted = true;
          break;
        }
        ahead = Number(fresh.querySelector("main").dataset.now) - Date.now();
        document.title = fresh.title;
        for (const section of fresh.querySelectorAll("[data-live]")) {
          const old = document.getElementById(section.id);
          if (old && shape(old) !== shape(section)) replace(old, document.adoptNode(section));
          else if (old) renewTimes(old, section);
        }
        showTimes();
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    } catch {
      // The stream of events reports when the relay is back.
    } finally {
      running = false;
    }
  };

  const renewTimes = (old, fresh) => {
    const times = fresh.querySelectorAll("time");
    old.querySelectorAll("time").forEach((time, place) => {
      if (!times[place]) return;
      time.dataset.at = times[place].dataset.at;
      time.dateTime = time.title = times[place].dateTime;
    });
  };

  // On a phone the filter is folded while it is not in use.
  const filter = document.getElementById("filter-fold");
  const phone = matchMedia("(max-width: 46rem)");
  const fold = () => { filter.open = !phone.matches || "inUse" in filter.dataset; };
  if (filter) {
    phone.addEventListener("change", fold);
    fold();
  }

  // Copying: the code is fetched when the button is clicked, so the page need not show it.
  const writeClipboard = async (text) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "hidden";
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    if (!done) throw new Error("the browser refuses");
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    try {
      const answer = await fetch(base + "/api/v1/messages?id=" + encodeURIComponent(button.dataset.copy));
      const { messages } = await answer.json();
      await writeClipboard(messages[0].code);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Cannot copy";
    }
    setTimeout(() => { button.textContent = "Copy code"; }, 2000);
  });

  // The stream of events. The browser connects again by itself, unless the relay refuses the stream.
  let source;
  const connect = () => {
    source = new EventSource(base + "/api/v1/events");
    source.addEventListener("open", () => {
      connection = "on";
      say();
      refresh();
    });
    source.addEventListener("error", () => {
      connection = "off";
      say();
      // The relay refuses the stream. If the session has ended, the refresh leads to the login.
      if (source.readyState === EventSource.CLOSED) {
        refresh();
        setTimeout(connect, 5000);
      }
    });
    source.addEventListener("status", refresh);
    source.addEventListener("message", refresh);
  };

  // The id of the notice is removed from the address. Otherwise a reload of the page would show the notice again.
  const notice = document.getElementById("notice");
  if (notice) {
    const address = new URL(location.href);
    address.searchParams.delete("notice");
    address.hash = "";
    history.replaceState(null, "", address);
    notice.focus();
  }

  document.addEventListener("selectionchange", () => {
    say();
    if (wanted && !isSelecting()) refresh();
  });
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  setInterval(showTimes, 1000);
  // The plots and the numbers of the overview change without an event.
  setInterval(() => { if (connection === "on" && !document.hidden) refresh(); }, 5000);
  connect();
})();
