// What shells need to complete our command lines, made from the commands themselves.

import type { Command, Option } from 'commander'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

interface Node {
  /** Words of the command behind its name: '' for the program. */
  readonly path: string
  readonly description: string
  readonly subcommands: readonly Node[]
  readonly options: readonly Option[]
}

/** The programs that are completed: the package brings one under two names. */
const PROGRAMS = ['runtime', 'moonmesh']

export function completionScript(shell: Shell, program: Command): string {
  const root = nodeOf(program, '')
  return shell === 'fish' ? fishScript(root) : `${shell === 'zsh' ? ZSH_HEAD : ''}${bashScript(root)}`
}

function nodeOf(command: Command, path: string): Node {
  const help = command.createHelp()
  const subcommands = help.visibleCommands(command).filter((each) => each.name() !== 'help')
  return {
    path,
    description: command.description(),
    subcommands: subcommands.map((each) => nodeOf(each, `${path} ${each.name()}`)),
    options: help.visibleOptions(command),
  }
}

const all = (node: Node): Node[] => [node, ...node.subcommands.flatMap(all)]
const nameOf = ({ path }: Node): string => path.split(' ').at(-1) ?? ''
const flagsOf = (option: Option): string[] =>
  [option.short, option.long].filter((flag) => flag !== undefined && flag !== null) as string[]
const takesValue = (option: Option): boolean => option.required || option.optional

// ---- bash, and zsh by its imitation of it

const ZSH_HEAD = 'autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n'

function bashScript(root: Node): string {
  const nodes = all(root)
  const known = nodes.flatMap(({ path }) => (path === '' ? [] : [`"${path}"`])).join('|')
  const cases = nodes.map((node) => {
    const words = [...node.subcommands.map(nameOf), ...node.options.flatMap(flagsOf)].join(' ')
    const files = node.subcommands.length === 0 ? ' files=yes' : ''
    return `    "${node.path}") found="${words}"${files} ;;`
  })
  const valued = nodes.flatMap(({ options }) => options.filter(takesValue))
  const choices = new Map(
    valued.flatMap((option) => (option.argChoices === undefined ? [] : [[option.long, option.argChoices]])),
  )
  const chosen = [...choices].map(
    ([flag, values]) => `    ${flag}) COMPREPLY=($(compgen -W "${values?.join(' ')}" -- "$cur")); return ;;`,
  )
  const others = [...new Set(valued.flatMap(flagsOf))].filter((flag) => !choices.has(flag) && flag !== '--node')
  return `# A name may hold spaces and stars: each line is one, whatever is in it. What was typed may be quoted.
_moonmesh_files() {
  local typed line
  typed="\${1#[\\"\\']}"
  typed="\${typed//\\\\/}"
  while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$typed")
}
# No variable here may be called path, words or status: in zsh those are something else.
_moonmesh() {
  local cur prev at word found files i
  cur="\${COMP_WORDS[COMP_CWORD]}"
  prev="\${COMP_WORDS[COMP_CWORD-1]}"
  at=""
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$at $word" in
    ${known}) at="$at $word" ;;
    esac
  done
  case "$prev" in
    # Only what can be the name of a node: compgen runs whatever else may stand in a word.
    --node) COMPREPLY=($(compgen -W "$(ls .runtime 2>/dev/null | LC_ALL=C grep -xE '[A-Za-z0-9][A-Za-z0-9.-]*')" -- "$cur")); return ;;
${chosen.join('\n')}
    ${others.join('|')}) _moonmesh_files "$cur"; return ;;
  esac
  case "$at" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$found" -- "$cur"))
  # An app, a key, a file: what is no option may be a path.
  if [[ "$cur" != -* && "$files" != "" ]]; then _moonmesh_files "$cur"; fi
}
complete -o filenames -F _moonmesh ${PROGRAMS.join(' ')}
`
}

// ---- fish

const quote = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`

function fishScript(root: Node): string {
  const lines = PROGRAMS.flatMap((program) => all(root).flatMap((node) => fishLines(program, node)))
  return `${lines.join('\n')}\n`
}

function fishLines(program: string, node: Node): string[] {
  const seen = node.path.split(' ').filter((word) => word !== '')
  const inside = seen.map((word) => `__fish_seen_subcommand_from ${word}`)
  const names = node.subcommands.map(nameOf).join(' ')
  const outside = names === '' ? [] : [`not __fish_seen_subcommand_from ${names}`]
  const when = [...inside, ...outside].join('; and ')
  const condition = when === '' ? '' : ` -n ${quote(when)}`
  const subcommands = node.subcommands.map(
    (each) => `complete -c ${program} -f${condition} -a ${nameOf(each)} -d ${quote(each.description)}`,
  )
  const options = node.options.map((option) => {
    const short = option.short === undefined || option.short === null ? '' : ` -s ${option.short.replace(/^-/, '')}`
    const long = option.long === undefined || option.long === null ? '' : ` -l ${option.long.replace(/^--/, '')}`
    const values =
      option.long === '--node'
        ? " -x -a '(ls .runtime 2>/dev/null)'"
        : option.argChoices !== undefined
          ? ` -x -a ${quote(option.argChoices.join(' '))}`
          : option.required
            ? ' -r'
            : ''
    return `complete -c ${program}${condition}${short}${long}${values} -d ${quote(option.description)}`
  })
  return [...subcommands, ...options]
}
