// The theme's folds at the side have no name for a screen reader.
for (const fold of document.querySelectorAll(".toctree-l1 > details > summary")) {
    const page = fold.closest("li").querySelector("a").textContent;
    fold.setAttribute("aria-label", `Pages of ${page}`);
}
