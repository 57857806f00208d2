// `runtime completion SHELL`: a script by which the shell completes our command lines.

import { Argument, type Command } from 'commander'
import { completionScript, SHELLS, type Shell } from '../completion.ts'
import { EXIT_OK } from '../exit.ts'
import { type CommonOptions, Output } from '../output.ts'

export function addCompletion(command: Command, program: Command, end: (exitCode: number) => void): void {
  command
    .description('a script by which a shell completes commands, options and nodes')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .addHelpText('after', HELP)
    .action((shell: Shell, options: CommonOptions) => {
      const output = Output.standard(options)
      const script = completionScript(shell, program)
      if (output.isJson) output.json({ shell, script })
      else output.text(script)
      end(EXIT_OK)
    })
}

const HELP = `
Examples:
  source <(runtime completion bash)                                        in ~/.bashrc
  source <(runtime completion zsh)                                         in ~/.zshrc
  runtime completion fish > ~/.config/fish/completions/runtime.fish`
