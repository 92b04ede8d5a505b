// The theme's folds at the side have no name for a screen reader.
for (const fold of document.querySelectorAll(".toctree-l1 > details > summary")) {
    const page = fold.closest("li").querySelector("a").textContent;
    fold.setAttribute("aria-label", `Pages of ${page}`);
}

// On paper it is light.
const shown = document.documentElement.dataset;
addEventListener("beforeprint", () => {
    const { theme } = shown;
    shown.theme = "light";
    addEventListener("afterprint", () => { shown.theme = theme; }, { once: true });
});

// A picture opens by itself, to be enlarged on a phone.
for (const image of document.querySelectorAll("article img[src*='_images/']")) {
    const link = document.createElement("a");
    link.href = image.src;
    image.replaceWith(link);
    link.append(image);
}

// From a search, one lands where the word is. (The theme has a search on every page, at
// which Sphinx believes that this is the page of results, and marks nothing.)
addEventListener("load", () => {
    if (document.getElementById("search-results")) return;
    SphinxHighlight.highlightSearchWords();
    setTimeout(() => {
        const found = document.querySelector("article .highlighted");
        found?.closest("details")?.setAttribute("open", "");
        found?.scrollIntoView({ block: "center" });
    }, 20);
});
