"use strict";
// Renders /openapi.json. Text only ever goes in through textContent, so nothing in it can run.

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  if (className) element.className = className;
  return element;
}

function nameOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.type === "array") return "[" + nameOf(schema.items) + "]";
  if (schema.anyOf) return schema.anyOf.map(nameOf).join(" or ");
  const type = Array.isArray(schema.type) ? schema.type.join(" or ") : schema.type || "any";
  return schema.enum ? schema.enum.filter((w) => w !== null).join(" | ") : type;
}

function typeNode(schema) {
  const span = make("span", nameOf(schema), "type");
  const name = nameOf(schema).replace(/[\[\]]/g, "");
  const known = JSON.stringify(schema || {}).includes("#/components/schemas/" + name + '"');
  if (!known) return span;
  const link = make("a", nameOf(schema), "type");
  link.href = "#schema-" + name;
  return link;
}

function notes(schema) {
  const found = [];
  for (const key of ["format", "pattern", "minimum", "maximum", "minLength", "maxLength"]) {
    if (schema && schema[key] !== undefined) found.push(key + " " + schema[key]);
  }
  if (schema && schema.description) found.push(schema.description);
  return found.join(" · ");
}

function table(rows) {
  const made = make("table");
  for (const [name, type, required, note] of rows) {
    const row = make("tr");
    row.append(make("td", name, "name"));
    const cell = make("td");
    cell.append(type);
    row.append(cell, make("td", required ? "required" : ""), make("td", note));
    made.append(row);
  }
  return made;
}

function body(content) {
  const made = make("p");
  for (const [kind, media] of Object.entries(content || {})) {
    made.append(make("code", kind), " ", typeNode(media.schema), " ");
  }
  return made;
}

function operation(path, method, spec) {
  const box = make("details", null, "operation");
  box.dataset.words = [path, method, spec.summary, spec.operationId, ...(spec.tags || [])]
    .join(" ").toLowerCase();
  const head = make("summary");
  head.append(make("b", method.toUpperCase(), "verb " + method), " ", make("code", path), " ",
    make("span", spec.summary || ""));
  box.append(head);
  if (spec.description) box.append(make("p", spec.description));
  const scopes = (spec.security || []).flatMap((one) => one.bearer || []);
  box.append(make("p", scopes.length ? "Scope: " + scopes.join(", ") : "Public."));
  if (spec.parameters && spec.parameters.length) {
    box.append(make("h4", "Parameters"), table(spec.parameters.map((p) =>
      [p.name + " (" + p.in + ")", typeNode(p.schema), p.required, p.description || notes(p.schema)])));
  }
  if (spec.requestBody) box.append(make("h4", "Body"), body(spec.requestBody.content));
  box.append(make("h4", "Replies"));
  for (const [status, reply] of Object.entries(spec.responses || {})) {
    const line = make("p");
    const described = reply.$ref ? reply.$ref.split("/").pop() : reply.description;
    line.append(make("b", status), " ", described || "", " ");
    line.append(...body(reply.content).childNodes);
    box.append(line);
  }
  return box;
}

function schemaBox(name, schema) {
  const box = make("details", null, "schema");
  box.id = "schema-" + name;
  box.append(make("summary", name));
  if (schema.description) box.append(make("p", schema.description));
  const required = new Set(schema.required || []);
  box.append(table(Object.entries(schema.properties || {}).map(([field, inner]) =>
    [field, typeNode(inner), required.has(field), notes(inner)])));
  return box;
}

function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
  }
}

async function main() {
  const spec = await (await fetch("/openapi.json")).json();
  document.getElementById("title").textContent = spec.info.title + " API " + spec.info.version;
  document.getElementById("introduction").textContent = spec.info.description || "";
  const operations = document.getElementById("operations");
  operations.textContent = "";
  const groups = new Map((spec.tags || []).map((tag) => [tag.name, []]));
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const [method, one] of Object.entries(item)) {
      if (!["get", "post", "put", "patch", "delete"].includes(method)) continue;
      const tag = (one.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(path, method, one));
    }
  }
  for (const [tag, boxes] of groups) {
    const group = make("section");
    const described = (spec.tags || []).find((one) => one.name === tag);
    group.append(make("h2", tag), make("p", described ? described.description : ""), ...boxes);
    operations.append(group);
  }
  const schemas = document.getElementById("schemas");
  for (const [name, schema] of Object.entries(spec.components.schemas || {})) {
    schemas.append(schemaBox(name, schema));
  }
  document.getElementById("search").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/);
    for (const box of document.querySelectorAll(".operation")) {
      box.hidden = !words.every((word) => box.dataset.words.includes(word));
    }
  });
  window.addEventListener("hashchange", openTarget);
  openTarget();
}

main().catch(() => {
  document.getElementById("operations").textContent = "The description could not be loaded.";
});
