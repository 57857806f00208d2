// Libraries that take long to load and that most scripts never need: loaded with their first use, so that a host starts without them.

import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** @param name of a package that can be required */
export function lazily<T>(name: string): () => T {
  let loaded: T | undefined
  return () => {
    loaded ??= require(name) as T
    return loaded
  }
}
