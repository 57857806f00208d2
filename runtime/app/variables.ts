// `${env:NAME}` and `${env:NAME:-default}` in string values. operations.md §1. Lua text is left alone.

const VARIABLE = /\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g
const SOURCE_KEY = 'source'
const FILE_SCHEME = 'file://'

/** The data with its variables replaced; a missing one without default is reported and left as it is. */
export function substituteVariables(
  data: unknown,
  env: Readonly<Record<string, string | undefined>>,
  report: (path: readonly PropertyKey[], message: string) => void,
): unknown {
  const visit = (value: unknown, path: readonly PropertyKey[]): unknown => {
    if (typeof value === 'string') return isLuaText(value, path) ? value : replace(value, path)
    if (Array.isArray(value)) return value.map((item, i) => visit(item, [...path, i]))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, visit(item, [...path, key])]))
  }
  const replace = (text: string, path: readonly PropertyKey[]): string =>
    text.replace(VARIABLE, (whole, name: string, fallback: string | undefined) => {
      const value = env[name] ?? fallback
      if (value === undefined) {
        report(path, `environment variable ${name} is not set; set it or give a default: \${env:${name}:-value}`)
      }
      return value ?? whole
    })
  return visit(data, [])
}

/** The `source` field of an entry, unless it names a file. */
function isLuaText(value: string, path: readonly PropertyKey[]): boolean {
  return path.at(-1) === SOURCE_KEY && path.length <= 3 && !value.startsWith(FILE_SCHEME)
}
