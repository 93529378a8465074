// A picture as query: from a file, the clipboard, or dropped on the page.

import { byId } from "./dom.js";

/** Take pictures from everywhere; each is handed on as a file. */
export function takePictures(take) {
  const file = byId("file");
  byId("choose").addEventListener("click", () => {
    if (byId("choose").getAttribute("aria-disabled") === "true") take(null);
    else file.click();
  });
  file.addEventListener("change", () => {
    if (file.files.length) take(file.files[0]);
    file.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("paste", (event) => {
    const pasted = pictureOf(event.clipboardData);
    if (pasted) {
      event.preventDefault();
      take(pasted);
    }
  });
  takeDropped(take);
}

function takeDropped(take) {
  const hasFiles = (event) => [...event.dataTransfer.types].includes("Files");
  const curtain = (shown) => {
    byId("drop").hidden = !shown;
  };
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    curtain(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) curtain(false);
  });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    curtain(false);
    take(event.dataTransfer.files[0]);
  });
}

const pictureOf = (data) => [...(data?.files ?? [])].find(({ type }) => type.startsWith("image/"));

const LONGEST = 2048; // pixels of a picture that is made smaller

/** A file as a data URI that the server's limit lets through; larger pictures are made smaller. */
export async function readPicture(file, mostBytes) {
  // Base64 makes four bytes of three, and the rest of the body needs some.
  const room = 0.74 * mostBytes - 1024;
  return asDataUri(file.size <= room ? file : await smaller(file));
}

async function smaller(file) {
  const whole = await createImageBitmap(file);
  const scale = Math.min(1, LONGEST / Math.max(whole.width, whole.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(scale * whole.width));
  canvas.height = Math.max(1, Math.round(scale * whole.height));
  const drawing = canvas.getContext("2d");
  drawing.fillStyle = "#fff";
  drawing.fillRect(0, 0, canvas.width, canvas.height);
  drawing.drawImage(whole, 0, 0, canvas.width, canvas.height);
  whole.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

function asDataUri(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(blob);
  });
}
