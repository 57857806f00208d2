// `${env:NAME}`, with `:-default` or `|default` behind the name, and `${NAME|default}`, in any string value, never in Lua text; `$${` is a
// literal `${`. operations.md §1, lua-libraries.md §12.

import { type Located, type LocatedScalar, mapScalars } from './located.ts'
import type { Path, ProblemList } from './problems.ts'

export type Variables = Readonly<Record<string, string | undefined>>

const PLACEHOLDER = /\$\$\{|\$\{(env:|(?=[A-Z][A-Z0-9_]*\|))([^}]*)(\}?)/g
const NAME_AND_DEFAULT = /^([A-Za-z_][A-Za-z0-9_]*)(?:(?::-|\|)(.*))?$/s
/** A text with its variables replaced has at most this many characters. */
const LENGTH_MAX = 16 * 1024 * 1024

/** The data with its variables replaced, as text; one that cannot be replaced is a problem and stays as it is. */
export function substitute(located: Located, path: Path, variables: Variables, problems: ProblemList): Located {
  return mapScalars(located, path, (scalar, at) => substituteScalar(scalar, at, variables, problems))
}

function substituteScalar(
  scalar: LocatedScalar,
  path: Path,
  variables: Variables,
  problems: ProblemList,
): LocatedScalar {
  if (typeof scalar.value !== 'string' || !scalar.value.includes('${')) return scalar
  let length = scalar.value.length
  const value = scalar.value.replace(PLACEHOLDER, (whole: string, _prefix: string, inside: string, end: string) => {
    if (whole === '$${') return '${'
    const replacement = replacementOf(inside, end === '}', variables)
    if ('text' in replacement) {
      length += replacement.text.length
      return length > LENGTH_MAX ? '' : replacement.text
    }
    problems.add(scalar.at, path, replacement.problem)
    return whole
  })
  if (length <= LENGTH_MAX) return { ...scalar, value }
  problems.add(scalar.at, path, `with its variables replaced this text has more than ${LENGTH_MAX} characters`)
  return scalar
}

/** As in a shell, `:-` stands in for a variable that is empty, too. */
function replacementOf(
  inside: string,
  isClosed: boolean,
  variables: Variables,
): { text: string } | { problem: string } {
  const [, name, fallback] = (isClosed && NAME_AND_DEFAULT.exec(inside)) || []
  if (name === undefined || fallback?.includes('${')) {
    return {
      problem: `write a variable as \${env:NAME} or \${env:NAME:-default}, not as \${env:${inside.slice(0, 40)}`,
    }
  }
  const value = Object.hasOwn(variables, name) ? variables[name] : undefined
  if (value !== undefined && (value !== '' || fallback === undefined)) return { text: value }
  if (fallback !== undefined) return { text: fallback }
  return { problem: `the environment variable ${name} is not set; set it, or give a default: \${env:${name}:-value}` }
}
