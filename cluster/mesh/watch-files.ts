// Notices that files changed on disk, however they were replaced: in place, by renaming, or through the links that orchestrators
// swap. Looks at them now and then, which works on every file system. cluster.md §4.3.

import { type Stats, unwatchFile, watchFile } from 'node:fs'

const LOOK_MS = 1000
/** Several files change one after the other; half of a new set is no set. */
const DEBOUNCE_MS = 1000

/**
 * Calls `changed` once after files changed and then stayed as they are for a second.
 * @returns ends it
 */
export function watchFiles(
  files: readonly string[],
  changed: () => void,
  { lookMs = LOOK_MS, debounceMs = DEBOUNCE_MS }: { lookMs?: number; debounceMs?: number } = {},
): () => void {
  let timer: NodeJS.Timeout | undefined
  const onChange = (now: Stats, before: Stats): void => {
    if (now.mtimeMs === before.mtimeMs && now.ino === before.ino && now.size === before.size) return
    clearTimeout(timer)
    timer = setTimeout(changed, debounceMs)
  }
  for (const file of files) watchFile(file, { interval: lookMs, persistent: false }, onChange)
  return () => {
    clearTimeout(timer)
    for (const file of files) unwatchFile(file, onChange)
  }
}
