/* ReDoc over this node's own document. Its search would need a worker made of text, which the page's policy does not allow. */
Redoc.init(
    "openapi.json",
    {
        disableSearch: true,
        hideDownloadButton: true,
        expandResponses: "200,201",
        sortRequiredPropsFirst: true,
        theme: { typography: { fontFamily: "sans-serif", headings: { fontFamily: "sans-serif" }, code: { fontFamily: "monospace" } } },
    },
    document.getElementById("page")
);
