-- Neovim's own language client, vim.lsp.rpc: headers, callbacks, $/cancelRequest by notification.
local PATIENCE = 1000 * tonumber(vim.env.PATIENCE or '60')
local TEXT = { model_id = 'm', prompt = 'The old house stood', max_tokens = 12, temperature = 0 }

local text, event, progress, exit_code = '', nil, {}, nil
local dispatchers = {
  notification = function(method, params)
    if method == 'stream.chunk' then
      for _, t in ipairs(params.tokens or { params }) do text = text .. t.token end
    elseif method == 'stream.event' then
      event = params
    elseif method == '$/progress' then
      table.insert(progress, params.value.kind)
    end
  end,
  on_exit = function(code) exit_code = code end,
}
local args = { '--worker', vim.env.TANDEM_WORKER, '--', '--dev-stall-ms=20' }
local client
if vim.fn.has('nvim-0.11') == 1 then
  client = vim.lsp.rpc.start(vim.list_extend({ vim.env.TANDEM }, args), dispatchers)
else
  client = vim.lsp.rpc.start(vim.env.TANDEM, args, dispatchers)
end

local function wait(condition, what)
  assert(vim.wait(PATIENCE, condition, 5), 'no ' .. what)
end

local function call(method, params)
  local done, err, result
  assert(client.request(method, params, function(e, r) done, err, result = true, e, r end))
  wait(function() return done end, 'answer to ' .. method)
  return result, err
end

local function with(base, more) return vim.tbl_extend('force', base, more) end

local function main()
  assert(call('initialize', { processId = vim.fn.getpid(), capabilities = vim.empty_dict() }).serverInfo.name == 'tandem')
  client.notify('initialized', vim.empty_dict())
  assert(call('load_model', { model_id = 'm', local_path = vim.env.NOVEL, workDoneToken = 'w' }).state == 'ready')
  assert(progress[1] == 'begin' and progress[#progress] == 'end')
  assert(vim.deep_equal(call('tokenize', { model_id = 'm', text = TEXT.prompt }).tokens, { 1, 522, 667, 834, 1087 }))
  local whole = call('generate', with(TEXT, { stream = false }))
  assert(call('generate', with(TEXT, { stream_id = 's' })).stream_id == 's')
  wait(function() return event end, 'end of the stream')
  assert(event.finish_reason == 'length' and text == whole.text)
  local _, err = call('tokenise', {})
  assert(err.code == -32601)
  _, err = call('tokenize', { model_id = 'absent', text = 'x' })
  assert(err.code == -32005)
  -- It keeps the answer to a cancelled request from its callers, so ask what became of it.
  local answered, answer_came = false, false
  local long = { model_id = 'm', prompt = 'Once', max_tokens = 480, ignore_eos = true, stream = false }
  local _, id = client.request('generate', long, function() answered = true end,
    function() answer_came = true end)
  client.notify('$/cancelRequest', { id = id })
  wait(function() return answer_came end, 'answer to what was cancelled')
  assert(call('runtime/state', {}).active_streams == 0 and not answered)
  assert(call('shutdown', {}).success)
  client.notify('exit', vim.empty_dict())
  wait(function() return exit_code end, 'exit')
  assert(exit_code == 0)
end

local ok, err = xpcall(main, debug.traceback)
io.stdout:write(ok and 'ok\n' or tostring(err) .. '\n')
vim.cmd(ok and 'qall!' or 'cquit 1')
