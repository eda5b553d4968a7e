/** Download a file; its name is the service's, unless the file is the page's own. */
export function save(url, name = "") {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}
