// What the page remembers on this device. Without storage (private windows) it remembers until it is closed.
const memory = new Map();

export function recall(name, otherwise) {
  try {
    const text = localStorage.getItem(`garbage.${name}`) ?? memory.get(name);
    return text === undefined || text === null ? otherwise : JSON.parse(text);
  } catch {
    return memory.has(name) ? JSON.parse(memory.get(name)) : otherwise;
  }
}

/** Returns whether it will still be there tomorrow. */
export function remember(name, value) {
  const text = JSON.stringify(value);
  try {
    localStorage.setItem(`garbage.${name}`, text);
    memory.delete(name);
    return true;
  } catch {
    memory.set(name, text);
    return false;
  }
}

export function forget(name) {
  memory.delete(name);
  try {
    localStorage.removeItem(`garbage.${name}`);
  } catch { /* nothing was kept */ }
}
