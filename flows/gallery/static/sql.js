// The SQL page: Ctrl+Enter runs what is written, Tab leaves the editor as everywhere. All works without it.
"use strict";

const editor = document.querySelector("#sql-text");
editor.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    editor.form.requestSubmit();
  }
});
if (!editor.value.trim()) editor.focus();
