// Lists and reads the inbox of an EWS server with ews-javascript-api, and prints what it saw.
const { createRequire } = require("module");
const [modules, url, user, password] = process.argv.slice(2);
const ews = createRequire(modules + "/")("ews-javascript-api");

async function main() {
  const server = new ews.ExchangeService(ews.ExchangeVersion.Exchange2013);
  server.Credentials = new ews.WebCredentials(user, password);
  server.Url = new ews.Uri(url);
  const inbox = ews.WellKnownFolderName.Inbox;
  const items = [];
  const view = new ews.ItemView(4);
  for (let more = true; more; view.Offset = items.length) {
    const page = await server.FindItems(inbox, view);
    items.push(...page.Items);
    more = page.MoreAvailable;
  }
  const wanted = new ews.PropertySet(ews.BasePropertySet.IdOnly, [ews.ItemSchema.MimeContent]);
  const raws = [];
  for (const item of items) {
    raws.push((await ews.Item.Bind(server, item.Id, wanted)).MimeContent.Content);
  }
  const top = ews.WellKnownFolderName.MsgFolderRoot;
  const folders = await server.FindFolders(top, new ews.FolderView(100));
  const synced = [];
  let state = null;
  for (let more = true; more; ) {
    const scope = ews.SyncFolderItemsScope.NormalItems;
    const folder = new ews.FolderId(inbox);
    const round = await server.SyncFolderItems(
      folder, ews.PropertySet.IdOnly, null, 3, scope, state);
    for (let at = 0; at < round.Count; at++) synced.push(round._getItem(at).ItemId.UniqueId);
    state = round.SyncState;
    more = round.MoreChangesAvailable;
  }
  const subjects = items.map((item) => item.Subject);
  const names = folders.Folders.map((folder) => folder.DisplayName);
  console.log(JSON.stringify({ subjects, raws, names, synced }));
}

main().catch((error) => {
  console.error(error.stack || String(error));
  process.exit(1);
});
