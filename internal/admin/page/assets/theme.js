// Light or dark is known before anything is painted, so this is no module. What
// was chosen is data-theme, which the page changes; without it, it is as the
// system has it.
(() => {
  const root = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)');
  const paint = () => root.classList.toggle('dark', (root.dataset.theme ?? (system.matches ? 'dark' : 'light')) === 'dark');
  try {
    const chosen = localStorage.getItem('theme');
    if (chosen === 'light' || chosen === 'dark') root.dataset.theme = chosen;
  } catch { /* no storage: as the system has it */ }
  paint();
  addEventListener('theme', paint);
})();
