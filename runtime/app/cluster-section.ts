// The `cluster` section of the settings. What its keys mean is the cluster's own affair; the program that loads an app hands in who
// reads it, since this folder may not know the cluster. Here its paths become places in files.

import { dirname, resolve } from 'node:path'
import { fieldValue, keyPlace, type LocatedMap, nearest, plainOf, valueAt } from './located.ts'
import { didYouMean, type Path, type ProblemList } from './problems.ts'
import { addUnknownKey } from './validate.ts'

/** What the loader itself needs of it. The rest is for whoever handed in the reader. */
export interface ClusterSection {
  readonly enabled: boolean
  /** The node's name in the cluster. */
  readonly name: string
}

interface SectionContext {
  /** `node.name`, when it is set. */
  readonly nodeName: string | undefined
  /** `node.data_dir`, absolute. */
  readonly dataDir: string
  /** The absolute path of one that stands at `path` below the section, relative to the file that says it. */
  resolvePath(path: Path, text: string): string
}

/** Paths are below the section. */
interface SectionProblem {
  readonly path: Path
  readonly message: string
  /** The key is wrong, not its value: these are the ones there are. */
  readonly keysKnown?: readonly string[]
  readonly suggest?: { readonly written: string; readonly among: readonly string[] }
}

export interface ClusterReader {
  /** Dotted paths below the section whose values are text, whatever they look like in a flag or a variable. */
  readonly textKeys: ReadonlySet<string>
  /** @param raw plain data; undefined when there is no section. `settings` is undefined when there are problems. */
  read(
    raw: unknown,
    context: SectionContext,
  ): {
    readonly settings: ClusterSection | undefined
    readonly problems: readonly SectionProblem[]
    readonly warnings: readonly SectionProblem[]
  }
}

const SECTION = 'cluster'

/** @param located all settings, composed */
export function readClusterSection(
  located: LocatedMap,
  reader: ClusterReader,
  context: Omit<SectionContext, 'resolvePath'>,
  { problems, warnings }: { problems: ProblemList; warnings: ProblemList },
): ClusterSection | undefined {
  const section = fieldValue(located, SECTION)
  const resolvePath = (path: Path, text: string): string => pathBeside(located, [SECTION, ...path], text)
  const reading = reader.read(section === undefined ? undefined : plainOf(section), { ...context, resolvePath })
  for (const problem of reading.problems) add(problem, located, problems)
  for (const warning of reading.warnings) add(warning, located, warnings)
  return reading.settings
}

function add(
  { path: below, message, keysKnown, suggest }: SectionProblem,
  located: LocatedMap,
  list: ProblemList,
): void {
  const path = [SECTION, ...below]
  if (keysKnown !== undefined) return addUnknownKey({ at: keyPlace(located, path), path, known: keysKnown }, list)
  list.add(nearest(located, path).at, path, () => {
    return suggest === undefined ? message : `${message}${didYouMean(suggest.written, suggest.among)}`
  })
}

/** A relative path is relative to the file that says it; to the working directory when a flag or a variable does. */
export function pathBeside(located: LocatedMap, path: Path, text: string): string {
  const at = valueAt(located, path)?.at
  return at === undefined || at.line === 0 ? resolve(text) : resolve(dirname(at.file), text)
}
