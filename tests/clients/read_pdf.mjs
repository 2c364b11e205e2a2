import { getDocument } from "pdfjs-dist/legacy/build/pdf.mjs";

// As for large files: the parts that the page needs, and no others in the background.
const [url] = process.argv.slice(2);
const book = await getDocument({ url, disableStream: true, disableAutoFetch: true }).promise;
const page = await book.getPage(60);
const { items } = await page.getTextContent();
console.log(items.map((item) => item.str).join(" "));
