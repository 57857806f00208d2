// Maps that are filled as they are asked.

/** What `map` holds under `key`; made and put in first when there is nothing yet. */
export function getOrAdd<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = make()
  map.set(key, made)
  return made
}
