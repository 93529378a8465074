// The API key: kept for this tab alone, sent in a header, never in an address.

const NAME = "itr-deploy-key";

export const kept = () => sessionStorage.getItem(NAME);
export const keep = (key) => sessionStorage.setItem(NAME, key);
export const forget = () => sessionStorage.removeItem(NAME);

export function headers() {
  const key = kept();
  return key === null ? {} : { Authorization: `Bearer ${key}` };
}
