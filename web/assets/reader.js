// Tells when a reader is there: by a move, a touch, a scroll or a key. What costs megabytes waits for that.
const SIGNS = ["pointermove", "pointerdown", "touchstart", "wheel", "scroll", "keydown", "focusin"];

/** Is fulfilled at the first sign of a reader. */
export const arrived = new Promise((resolve) => {
  if (scrollY > 0 || navigator.userActivation?.hasBeenActive) return resolve();
  const listening = new AbortController();
  const arrive = () => {
    listening.abort();
    resolve();
  };
  for (const sign of SIGNS) addEventListener(sign, arrive, { signal: listening.signal, capture: true, passive: true });
});
